"""Environments beside revisions, and how one follows the other by proof."""
