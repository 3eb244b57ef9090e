"""Execution control: sessions, options, training runs, profiles."""
