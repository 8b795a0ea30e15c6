/* The page over server-sent events, with nothing but the browser's own EventSource. It comes back by itself with the id
 * of the last message, and gets what it missed. After any answer but a stream (a proxy's 502, say) a browser gives up:
 * then the page makes another one, later and later, and says itself where it was.
 */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  const path = "/livepush/sse?channels=orders&tab=" + livepush.tab;
  const PATIENCE = [2000, 60000]; // milliseconds: the first wait and the longest
  let first = true;
  let last = ""; // the id of the last message
  let patience = PATIENCE[0];

  function connect() {
    const since = last ? "&since=" + encodeURIComponent(last.split(" ")[0]) : "";
    const source = new EventSource(ws_daemon + path + since, { withCredentials: true });

    source.onmessage = (event) => {
      const message = JSON.parse(event.data);
      last = event.lastEventId;
      if (message.op === "event") {
        window["ws_order_" + message.type](message.data);
      } else if (message.op === "welcome") {
        ws_access(message.channels.orders.audience);
        ws_status("live", "Live");
        patience = PATIENCE[0];
        if (first || message.channels.orders.resync) ws_orders_load(); // else all that was missed has come before this
        first = false;
      } else if (message.op === "presence") {
        ws_present(message);
      } else if (message.op === "gone") {
        ws_access(null);
      } else if (message.op === "back") {
        ws_access(message.audience);
        ws_orders_load();
      } else if (message.op === "resync") {
        ws_orders_load();
      } else if (message.op === "close" && message.code >= 4400) {
        source.close(); // coming back would not help
        ws_status("off", "Not live: " + message.reason);
      }
    };

    source.onerror = () => {
      ws_present({ now: null });
      ws_status("wait", "Connecting…");
      if (source.readyState !== EventSource.CLOSED) return; // the browser comes back by itself
      setTimeout(connect, patience * (0.5 + Math.random() / 2));
      patience = Math.min(2 * patience, PATIENCE[1]);
    };
  }

  connect();
})();
