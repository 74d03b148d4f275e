"""A small https site on this machine: pages that answer, redirect, wait, or break off as a test wants."""

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer

import trustme


@dataclass
class Page:
    """One address. breaks: how many bytes each of the first answers sends before the line is cut."""

    body: bytes = b""
    location: str | None = None
    serves_ranges: bool = True
    says_length: bool = True
    breaks: list[int] = field(default_factory=list)
    wait_for: threading.Event | None = None


class Site(ThreadingHTTPServer):
    """Pages by path, and what was asked of them: (path, Range header)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.was_asked = threading.Event()

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that has seen enough hangs up; anything else is a fault of this site.
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, request: object, client_address: object, server: BaseServer) -> None:
        assert isinstance(server, Site)
        self.site = server
        super().__init__(request, client_address, server)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        asked_range = self.headers.get("Range")
        self.site.asked.append((self.path, asked_range))
        self.site.was_asked.set()
        page = self.site.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif page.location is not None:
            self.send_response(302)
            self.send_header("Location", page.location)
            self.end_headers()
        else:
            if page.wait_for is not None:
                page.wait_for.wait(timeout=60)
            self._answer(page, asked_range if page.serves_ranges else None)

    def _answer(self, page: Page, asked_range: str | None) -> None:
        start = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
        if start and start >= len(page.body):
            self.send_error(416)
            return
        body = page.body[start:]
        self.send_response(206 if asked_range else 200)
        if asked_range:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        if page.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: page.breaks.pop(0)] if page.breaks else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keeps the site silent."""


@contextmanager
def serving(authority: trustme.CA) -> Iterator[Site]:
    """A site with a certificate of this authority, as long as the context lasts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Site() as site:
        site.socket = context.wrap_socket(site.socket, server_side=True)
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


def trust(authority: trustme.CA, folder: Path) -> Path:
    """The authority's certificate as a file, for SSL_CERT_FILE."""
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path
