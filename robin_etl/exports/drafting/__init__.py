"""Drafting: what a file's rows say of how to read it, written as a profile, and what they don't say."""

from robin_etl.exports.drafting.draft import Draft, draft_profile
from robin_etl.exports.drafting.questions import Question

__all__ = ["Draft", "Question", "draft_profile"]
