"""Tell people: written down with what happened, sent afterwards, each thing once a channel."""
