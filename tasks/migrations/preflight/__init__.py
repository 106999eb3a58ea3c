"""Before anything runs: may this session migrate, and do the rows allow it?"""
