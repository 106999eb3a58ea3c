"""Is a database's schema what its own revisions made of it, and if not, what now?"""
