"""Tilings that come with the kit: what a search found, a readable file per chip."""
