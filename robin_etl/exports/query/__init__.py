"""A query as the source of exports: its SQL, the database it asks, and the file its answer becomes.

What is imported from here needs SQLAlchemy, so who only looks for files imports none of it.
"""

from robin_etl.exports.query.database import Answer, ask, open_database
from robin_etl.exports.query.landing import land_answer
from robin_etl.exports.query.statement import Query, find_midnight, read_query

__all__ = ["Answer", "Query", "ask", "find_midnight", "land_answer", "open_database", "read_query"]
