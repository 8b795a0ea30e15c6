"""One page in a real Chromium under steady events, while the processes that serve it are restarted, one by one.

    BROKER=amqp://... python -m tests.acceptance.restart DIR

The page has three connections: livepush.js, the stock socket.io-client, and the stock sockjs-client in front of the
dozen lines that name positions. BROKER is a RabbitMQ. It writes a screenshot of the end into DIR, and ends with an
`AssertionError` or a Playwright error where something is not as it should be.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.acceptance.browser import PATIENCE_MS, chromium
from tests.servers.daemon import Daemon, django_site
from tests.servers.node import FOLDER, node
from tests.servers.ports import free_ports
from tests.servers.program import WAIT_SECONDS
from tests.servers.publisher import Publisher

ROOT = Path(__file__).resolve().parents[2]
LIVEPUSH_JS = ROOT / "djangosite/livepush/django/static/livepush/livepush.js"
RATE = 50
# Named by the issue: 1 s without an event; three times as much for a busy machine.
SILENT_MS = 3 * 1000
WORKERS = (1, 2)

_SETTINGS = "from shop.settings import *\nLIVEPUSH_DRAIN_SECONDS = 2\nLIVEPUSH_ALLOWED_ORIGINS = [{!r}]\n"

HTML = """<!doctype html><meta charset="utf-8"><title>page</title>
<script type="application/json" id="livepush-config">{"url": "ws://PUSH/livepush/ws"}</script>
<script src="/page.js"></script>"""

PAGE_JS = """
"use strict";
// What livepush.js does with its sockets, as the page's own browser sees it.
globalThis.sockets = [];
const Real = WebSocket;
let made = 0;
globalThis.WebSocket = class extends Real {
  constructor(url, protocols) {
    super(url, protocols);
    if (protocols !== "livepush.v1" && !(protocols && protocols[0] === "livepush.v1")) return;
    const number = ++made;
    this.addEventListener("open", () => sockets.push(["open", number]));
    this.addEventListener("close", () => sockets.push(["close", number]));
    const close = this.close;
    this.close = (...words) => (sockets.push(["dropped", number]), close.apply(this, words));
  }
};
"""

CLIENTS_JS = """
globalThis.heard = { native: [], socketio: [], sockjs: [] };
globalThis.moments = [];
globalThis.told = { native: [], socketio: [], sockjs: [] };
livepush.on("news", "note", (data) => {
  heard.native.push(Number(data.name));
  moments.push(performance.now());
});
livepush.onStatus((status) => told.native.push(status.state));
livepush.onResync((channel, why) => told.native.push(["resync", channel, why]));

const options = { transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 100 };
const socket = io("http://PUSH", options);
socket.on("connect", () => told.socketio.push(["connect", socket.recovered]));
socket.on("disconnect", (reason) => told.socketio.push(["disconnect", reason]));
socket.on("note", (data) => heard.socketio.push(Number(data.name)));

let position = null;
const seen = new Set();
function open() {
  const line = new SockJS("http://PUSH/livepush/sockjs", null, { transports: ["websocket"] });
  line.onopen = () => line.send(JSON.stringify({ op: "hello", n: 0, channels: { news: position } }));
  line.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.op === "event" && !seen.has(message.id)) heard.sockjs.push(Number(message.data.name));
    if (message.op === "event") seen.add(message.id); // the last one before a position may come again
    if (message.op === "welcome") told.sockjs.push(["welcome", message.channels.news.resync || ""]);
    if (message.at) position = message.at;
  };
  line.onclose = ({ code }) => {
    told.sockjs.push(["close", code]);
    setTimeout(open, 50);
  };
}
open();
"""

ALL_HEAR = "() => Object.values(heard).every((numbers) => numbers.length > 0)"
ALL_HEARD = "(last) => Object.values(heard).every((numbers) => numbers[numbers.length - 1] === last)"


class Files(SimpleHTTPRequestHandler):
    """The site's files, without a word on each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        pass


def write_files(folder: Path, push: str) -> None:
    """A page with its script, for a daemon at this address."""
    node()  # its packages hold the stock clients
    modules = FOLDER / "node_modules"
    scripts = [modules / "socket.io-client/dist/socket.io.min.js", modules / "sockjs-client/dist/sockjs.min.js"]
    parts = [PAGE_JS, *(path.read_text() for path in (*scripts, LIVEPUSH_JS)), CLIENTS_JS]
    (folder / "page.js").write_text(";\n".join(parts).replace("PUSH", push))
    (folder / "page.html").write_text(HTML.replace("PUSH", push))


def worker(daemon: Daemon, number: int) -> int:
    """The process id of one of the daemon's workers."""
    for pid in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if words[words.index("--instance") + 1] == str(number):
            return int(pid)
    raise AssertionError(f"no worker {number}")


def judge(page: Page, last: int) -> None:
    """What the page was told."""
    said: dict[str, Any] = page.evaluate("({ heard, told, moments, sockets })")
    heard, told, sockets = said["heard"], said["told"], said["sockets"]
    for name, numbers in heard.items():
        whole = list(range(numbers[0], last + 1))
        assert numbers == whole, (name, told[name], [pair for pair in pairwise(numbers) if pair[1] != pair[0] + 1])
    # The next connection is there before the last one is let go of, and the page never was without.
    assert told["native"] in (["connecting", "online"], ["online"]), told["native"]
    count = sum(what == "open" for what, _ in sockets)
    assert count >= 2, sockets
    open_now = 0
    for what, number in sockets:
        if what == "open":
            open_now += 1
        elif what == "dropped":
            open_now -= 1
            assert open_now == 1, sockets
        else:
            assert ["dropped", number] in sockets, sockets
    silent = max(later - earlier for earlier, later in pairwise(said["moments"]))
    print(f"livepush.js: {count} connections, at most {silent:.0f} ms between two events")
    assert silent < SILENT_MS, silent
    recovered = [word for what, word in told["socketio"] if what == "connect"]
    assert recovered == [False] + [True] * max(1, len(recovered) - 1), told["socketio"]
    welcomes = [word for what, word in told["sockjs"] if what == "welcome"]
    assert welcomes == [""] * max(2, len(welcomes)), told["sockjs"]


def main(broker: str, folder: Path) -> None:
    """All of it."""
    folder.mkdir(parents=True, exist_ok=True)
    site = django_site()
    (port,) = free_ports(1)
    write_files(folder, f"127.0.0.1:{port}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, name="files", daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    (site.folder / "shop" / "restart.py").write_text(_SETTINGS.format(origin))
    words = ("--port", str(port), "--workers", str(len(WORKERS)))
    daemon = Daemon(site, *words, environ={"LIVEPUSH_BROKER_URL": broker}, settings="shop.restart")
    publisher = Publisher(site, broker, RATE)
    faults: list[str] = []
    try:
        for number in WORKERS:
            daemon.wait_for(f"worker {number}: Feed ready")
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: faults.append(str(error)))
            name, _, value = site.cookie.partition("=")
            page.context.add_cookies([{"name": name, "value": value, "url": origin}])
            page.goto(f"{origin}/page.html")
            page.wait_for_function(ALL_HEAR)
            for number in WORKERS:  # whichever serves a connection: it is restarted
                os.kill(worker(daemon, number), signal.SIGTERM)
                daemon.wait_for(f"worker {number}: Feed ready", count=2)
            last = len(publisher.end())
            page.wait_for_function(ALL_HEARD, arg=last)
            page.screenshot(path=folder / "end.png")
            judge(page, last)
            assert not faults, faults
        assert daemon.terminate(WAIT_SECONDS)[0] == -signal.SIGTERM
    except BaseException:
        print(daemon.output, *faults, sep="\n", file=sys.stderr)
        raise
    finally:
        publisher.kill()
        daemon.kill()
        server.shutdown()
    print("all steps done")


if __name__ == "__main__":
    main(os.environ["BROKER"], Path(sys.argv[1]))
