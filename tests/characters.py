"""Any character that UTF-8 can encode, for strategies of hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

# The same as the default of `st.text`, for which hypothesis encodes each code point in a fresh
# checkout: 2 s in each worker process.
CHARACTERS = st.characters(exclude_categories=["Cs"])
