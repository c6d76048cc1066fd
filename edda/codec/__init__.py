"""Values, arguments and errors as JSON, and back as they were.

``json`` is the text form, ``values`` one value with its type, ``binding`` the arguments of
a function, ``errors`` an exception.
"""

from __future__ import annotations
