"""The stock sockjs-client in a real Chromium: `browse.py PAGE SOCKET TRANSPORT...` prints what each transport brought.

Playwright's synchronous interface blocks, so this runs in a process of its own.
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import sync_playwright

from tests.integration.browser_client.browse import ARGS, CHROMIUM

TEXT = 'café \u2028 </script> "q" \x00 \U0001f600 ' + "é" * 16_384

_SCRIPT = """([url, transport, text]) => new Promise((resolve) => {
  const socket = new SockJS(url, null, { transports: [transport] });
  const say = (message) => socket.send(JSON.stringify(message));
  const got = {};
  socket.onopen = () => {
    got.transport = socket.transport;
    say({ op: "hello", n: 0 });
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.op === "welcome") say({ op: "call", n: 1, channel: "orders", type: "echo", data: { text } });
    if (message.op === "event") got.event = message.data.text === text;
    if (message.n === 1) got.answer = message.data.text === text;
    if (got.event !== undefined && got.answer !== undefined) socket.close();
  };
  socket.onclose = ({ code, reason }) => resolve({ ...got, code, reason });
})"""


def main(url: str, socket: str, transports: list[str]) -> None:
    """Opens the page once for each transport."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        said = {}
        for transport in transports:
            page = browser.new_page()
            page.goto(url)
            said[transport] = page.evaluate(_SCRIPT, [socket, transport, TEXT])
            page.close()
        browser.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
