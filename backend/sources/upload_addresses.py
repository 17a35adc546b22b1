"""Which addresses name an uploaded file of Label Studio: such an address means the same bytes for as long as it exists.

    /data/upload/3/1f2e3d4c-boat.jpg                              a file on Label Studio's own disk
    /storage-data/uploaded/?filepath=upload/3/1f2e3d4c-boat.jpg   the same where uploads are kept in a cloud

Label Studio 1.23.2 puts eight random digits before the name of each file that is uploaded, and never writes to an
address again: who uploads a file in the place of another one gets another address. So the address says which bytes are
there. A file of a local storage or of a bucket says no such thing: its owner may replace it under its name.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from backend.sources.web_url import WebUrl

_FILE = re.compile(r"upload/[0-9]+/[0-9a-f]{8}-[^/\\]+")
_ON_DISK = "/data/"
_IN_A_CLOUD = "/storage-data/uploaded/"


def is_upload(url: WebUrl, base_path: str = "") -> bool:
    """Return whether a URL of Label Studio names an uploaded file, and nothing but that.

    Args:
        url: a URL that leads to Label Studio.
        base_path: the path below which Label Studio is, such as "/studio"; "" where it is at the root.
    """
    if not url.path.startswith(f"{base_path}/"):
        return False
    path = url.path.removeprefix(base_path)
    if path == _IN_A_CLOUD:
        return _FILE.fullmatch(url.query.get("filepath", "")) is not None
    return path.startswith(_ON_DISK) and _FILE.fullmatch(unquote(path.removeprefix(_ON_DISK))) is not None
