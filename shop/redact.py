"""What is taken out of texts that are kept or logged: the last line of defence.

Nothing of ours writes a secret or a customer's address into a message. But errors of
libraries quote what they were given: a URL with its password, the row that the database
refused, the recipient whom the mail server did.
"""

import re

REMOVED = "[removed]"

_PATTERNS = (
    # A row that PostgreSQL refused, whatever line breaks its values hold.
    r"(?P<detail>DETAIL:).*?(?=\n\n(?:The above exception|During handling)|\Z)",
    # Passwords in URLs, also those that should have been escaped; paths and queries
    # of outside addresses: a webhook's path may be its key.
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s\"']{0,500}@",
    r"(?P<site>\bhttps?://[^\s/?#\"'@]+)[/?#][^\s\"']*",
    r"(?P<kind>\b(?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
    # Tokens and signing keys of ours.
    r"\bshop_[A-Za-z0-9_-]{20,}",
    r"\bwhsec_[A-Za-z0-9+/=]{8,}",
    # People.
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
)
# The lengths are bounded so that a long word costs no more than its length.
_SECRETS = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.DOTALL)


def redact(text: str) -> str:
    """Return `text` without what looks like a secret or somebody's address."""
    return _SECRETS.sub(_replacement, text)


def _replacement(match: "re.Match[str]") -> str:
    kept = match.group(match.lastgroup) if match.lastgroup else ""
    if match.lastgroup == "scheme":
        return f"{kept}{REMOVED}@"
    if match.lastgroup == "site":
        return f"{kept}/{REMOVED}"
    return f"{kept}{' ' if match.lastgroup == 'detail' else ''}{REMOVED}"
