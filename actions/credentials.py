"""What requests are signed with, kept out of what people are told."""

from urllib.parse import quote, quote_plus

INSTEAD = "***"


def without_credentials(text: str, *secrets: str) -> str:
    """Return a text without the secrets, in the forms in which one may repeat them.

    Args:
        text: what somebody else wrote, such as a provider's refusal.
        secrets: each whole; an ``Authorization`` header counts without its scheme, too.
    """
    for secret in secrets:
        bare = secret.partition(" ")[2]
        for each in filter(None, (secret, bare)):
            for form in (
                repr(each)[1:-1],
                each,
                quote(each),
                quote(each, safe=""),
                quote_plus(each),
            ):
                text = text.replace(form, INSTEAD)
    return text
