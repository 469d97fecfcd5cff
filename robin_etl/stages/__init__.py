"""The stages of a run, one file each, and the run itself: its folder, partitions and files by name."""
