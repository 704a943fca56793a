"""How the miniature world that ships with lorascope is drawn and trained.

Nothing here is needed at run time. `python -m miniature all` rebuilds every file
under `src/lorascope/miniature/`; README.md next to this file says how long each
stage takes and what came out.
"""
