"""O-MI/O-DF: which information a request asks for, read from its XML envelope.

Facts: The Open Group's Open Messaging Interface (O-MI) and Open Data Format (O-DF), 1.0 and 2.0; D3.8, section 3.2. The
parser takes no entities and no document types, and what it reads is bounded: an envelope comes from a stranger.
"""

from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..core.errors import BadParam

MOST_BYTES = 100_000
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
"""What begins an attribute that says of what type of a schema an element is."""
MOST_PATHS = 50
MOST_DEPTH = 30


def asked(envelope: bytes) -> tuple[str, ...]:
    """Return the paths (Objects/.../InfoItem) that an O-MI read asks for, each once. BadParam for anything else."""
    if len(envelope) > MOST_BYTES:
        raise BadParam(f"envelope: may have {MOST_BYTES:,} bytes", param="envelope")
    try:
        root = fromstring(envelope, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BadParam(f"envelope: is not XML that is read here ({type(error).__name__})", param="envelope") from None
    if _name(root) != "omiEnvelope":
        raise BadParam("envelope: is no omiEnvelope", param="envelope")
    verbs = [child for child in root if isinstance(child.tag, str)]
    if len(verbs) != 1 or _name(verbs[0]) != "read":
        raise BadParam("envelope: must hold one read; nothing else is sold here", param="envelope")
    more = sorted(name for name in verbs[0].attrib.keys() - {"msgformat", "targetType"} if not name.startswith(XSI))
    if more:  # a subscription, or values of the past
        raise BadParam(f"envelope: {more[0][:40]!r}: only the present value is sold here", param="envelope")
    paths: dict[str, None] = {}
    for message in (each for each in verbs[0] if _name(each) == "msg"):
        for objects in (each for each in message if _name(each) == "Objects"):
            _collect(objects, "Objects", paths, 0)
    if not 1 <= len(paths) <= MOST_PATHS:
        raise BadParam(f"envelope: must ask for 1 to {MOST_PATHS} paths, not {len(paths)}", param="envelope")
    return tuple(paths)


def _collect(element: Element, path: str, paths: dict[str, None], depth: int) -> None:
    """Add what an element asks for: its InfoItems and its Objects', or all of it where it names none."""
    if depth > MOST_DEPTH or len(paths) > MOST_PATHS:
        raise BadParam("envelope: asks for too much", param="envelope")
    named = False
    for child in element:
        if _name(child) == "InfoItem":
            named = True
            paths[f"{path}/{_plain(child.get('name'))}"] = None
        elif _name(child) == "Object":
            named = True
            ids = [each.text for each in child if _name(each) == "id"]
            if len(ids) != 1:
                raise BadParam("envelope: an Object has one id", param="envelope")
            _collect(child, f"{path}/{_plain(ids[0])}", paths, depth + 1)
        elif _name(child) not in ("id", "description", "MetaData", ""):
            raise BadParam(f"envelope: {_name(child)[:40]!r} is not read here", param="envelope")
    if not named:
        paths[path] = None


def _plain(name: str | None) -> str:
    """A name that can stand in a path, and in a list of services."""
    text = (name or "").strip()
    if not text or len(text) > 100 or not text.isprintable() or set(text) & set("/,"):
        raise BadParam(f"envelope: {text[:40]!r} is not a name", param="envelope")
    return text


def _name(element: Element) -> str:
    """An element's name without its namespace; "" for comments and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
