"""After the revisions ran: is the schema as rehearsed, and what follows if not?"""
