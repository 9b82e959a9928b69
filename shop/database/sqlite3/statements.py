"""Which statements want SQLite's write lock, told by their text.

The sqlite3 module doesn't hand on what SQLite itself knows of a statement. To
take a writer for a reader costs fairness only, since SQLite's own locks stand
behind; to take a reader for a writer would have it wait for nothing.
"""

import re
from functools import lru_cache

_BLANK = r"(?:\s+|--[^\n]*|/\*.*?(?:\*/|\Z))"
_FIRST = re.compile(rf"{_BLANK}*+(\w*)", re.DOTALL)
_WRITE = frozenset(
    ("ALTER", "ANALYZE", "CREATE", "DELETE", "DROP", "INSERT", "REINDEX", "REPLACE", "UPDATE")
)
# Verbs that write in some of their forms.
_SOME_WRITE = {
    "BEGIN": re.compile(rf"BEGIN{_BLANK}+(?:IMMEDIATE|EXCLUSIVE)\b", re.IGNORECASE | re.DOTALL),
    # Not journal_mode: every connection begins with it, and it changes
    # something only once in the life of a file.
    "PRAGMA": re.compile(
        rf"PRAGMA{_BLANK}+(?:\w+\s*\.\s*)?"
        r"(?:(?:application_id|schema_version|user_version)\s*[=(]"
        r"|(?:incremental_vacuum|optimize|wal_checkpoint)\b)",
        re.IGNORECASE | re.DOTALL,
    ),
    # VACUUM INTO copies the file, and changes nothing in it.
    "VACUUM": re.compile(r"VACUUM\b(?!.*\bINTO\b)", re.IGNORECASE | re.DOTALL),
}
_MAY_WRITE = re.compile(r"\b(?:DELETE|INSERT|REPLACE|UPDATE)\b", re.IGNORECASE)
_WORD = re.compile(
    rf"""{_BLANK}|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|.""", re.DOTALL
)


def writes(sql: str) -> bool:
    """Return whether a statement, by itself and outside a transaction, takes the write lock."""
    start = _FIRST.match(sql)
    assert start is not None, "it matches nothing as well"
    verb = start[1].upper()
    if verb == "SELECT":
        return False
    if verb in _WRITE:
        return True
    if verb == "WITH":
        return _MAY_WRITE.search(sql) is not None and _with_writes(sql)
    pattern = _SOME_WRITE.get(verb)
    return pattern is not None and pattern.match(sql, start.start(1)) is not None


@lru_cache(maxsize=256)
def _with_writes(sql: str) -> bool:
    """Return whether what follows the common table expressions writes.

    That is the first word after a closed parenthesis that is no AS. (A comma
    begins the next expression, whose parenthesis is still to come.)
    """
    depth = 0
    closed = False
    for word in _WORD.findall(sql):
        if word.isspace() or word.startswith(("--", "/*")):
            continue
        if closed and word[0].isalpha() and word.upper() != "AS":
            return word.upper() in _WRITE
        depth += (word == "(") - (word == ")")
        closed = depth == 0 and word == ")"
    return False
