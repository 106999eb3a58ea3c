"""The files of a project and what a database's history says of them: read, judged, planned."""
