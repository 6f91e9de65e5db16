"""Where an uploaded file's name and bytes are in a request: raw body or multipart/form-data (RFC 7578)."""

import azure.functions as func
from multipart import MultipartError, PushMultipartParser, parse_options_header

from functions._conditions import decode_name
from shared.domain.errors import Malformed, UnsupportedMedia

MAX_PARTS = 16


def named_content(req: func.HttpRequest, body: bytes) -> tuple[str | None, bytes]:
    """The path to upload to, None when the client chose none, and the file's bytes.

    `?path=` counts before the form's field `path`, that before `X-File-Name`, that before a part's file name.
    Raises Malformed, and UnsupportedMedia for an encoding that would hide what is stored.
    """
    if req.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("send the file as it is, without Content-Encoding")
    media, options = parse_options_header(req.headers.get("content-type", ""))
    name = req.params.get("path")
    stated = req.headers.get("x-file-name")
    if media.lower() == "multipart/form-data":
        field, filename, content = _parse_form(options.get("boundary", ""), body)
        name = name or field or (decode_name(stated) if stated else filename)
        return name, content
    return name or (decode_name(stated) if stated else None), body


def _parse_form(boundary: str, body: bytes) -> tuple[str | None, str | None, bytes]:
    """The field `path`, the file's name, and the bytes of the first part that has one."""
    path: str | None = None
    filename: str | None = None
    content: bytes | None = None
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS, strict=True) as parser:
            segment, gathered = None, bytearray()
            for event in parser.parse(body):
                if event is None:
                    if segment is not None and segment.filename is not None and content is None:
                        filename, content = segment.filename, bytes(gathered)
                    elif segment is not None and segment.name == "path" and segment.filename is None:
                        path = bytes(gathered).decode()
                    gathered.clear()
                elif isinstance(event, (bytes, bytearray)):
                    gathered += event
                else:
                    segment = event
    except (MultipartError, UnicodeDecodeError) as error:
        raise Malformed(f"the form can't be read: {error}") from error
    if content is None:
        raise Malformed("the form has no file: a part with a filename is expected")
    # Browsers send the bare name; older ones a whole path of the user's machine, which is nobody's business.
    bare = filename.replace("\\", "/").rsplit("/", 1)[-1] if filename else None
    return path, bare or None, content
