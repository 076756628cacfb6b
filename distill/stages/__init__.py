"""Stages of a run: each resumable, finished only once, rehearsed before anything trains."""
