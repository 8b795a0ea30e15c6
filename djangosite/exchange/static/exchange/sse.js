/* The page over server-sent events, with nothing but the browser's own EventSource. It comes back by itself with the id of
 * the last event, and gets what it missed.
 */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  const path = "/livepush/sse?channels=orders&tab=" + livepush.tab;
  const source = new EventSource(ws_daemon + path, { withCredentials: true });
  let first = true;

  source.onopen = () => {
    ws_status("live", "Live");
    if (first) ws_orders_load(); // what happened between the making of this page and now
    first = false;
  };

  function on(type, handler) {
    source.addEventListener(type, (event) => handler(JSON.parse(event.data)));
  }

  on("lock", ws_order_lock);
  on("done", ws_order_done);
  on("free", ws_order_free);
  on("livepush:resync", ws_orders_load);
  on("livepush:back", ws_orders_load);

  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) ws_status("off", "Not live: reload the page to see changes");
    else ws_status("wait", "Connecting…");
  };
})();
