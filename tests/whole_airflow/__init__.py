"""What takes a whole Airflow minutes: a part of `make test-airflow`."""
