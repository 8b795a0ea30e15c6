"""A private nginx: on loopback only, as the user of the tests, with a configuration of the documentation.

server = Nginx(text_of_an_http_block)
self.addCleanup(server.stop)
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress

from tests.servers import guard
from tests.servers.child import Child, ServerFailed, private_folder, tail

START_SECONDS = 60.0

_MISSING = "nginx is not installed: `make test` installs it (Debian package nginx-light)"

_MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""


class Nginx:
    """One server, answering.

    Args:
        http: what stands in its http block.
        port: on 127.0.0.1, at which that listens.
    """

    def __init__(self, http: str, port: int) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise ServerFailed(_MISSING)
        self.port = port
        self.folder = private_folder("nginx")
        self._log = self.folder / "nginx.log"
        configuration = self.folder / "nginx.conf"
        configuration.write_text(_MAIN.format(folder=self.folder, http=http))
        command = [program, "-p", str(self.folder), "-c", str(configuration), "-e", str(self._log)]
        environ = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        self._server = Child(command, folder=self.folder, environ=environ, log=self._log)
        try:
            self._server.wait_until(self._answers, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it and removes the folder. May be called twice."""
        self._server.terminate()
        self._server.kill()
        guard.remove(self.folder)

    def log(self) -> str:
        """The end of what it wrote."""
        return tail(self._log)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
