"""Settings of the property tests, for all folders.

No example has a deadline, since time on a busy machine says nothing; a failure prints what replays it.
"""

from hypothesis import settings

settings.register_profile("strata", deadline=None, print_blob=True, database=None)
settings.load_profile("strata")
