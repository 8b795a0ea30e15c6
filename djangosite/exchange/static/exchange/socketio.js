/* The page over Socket.IO, with the stock client. It comes back by itself, and where `recovered` says so it has got all
 * that it missed. The tab's id tells the daemon which events this very page has caused.
 */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  const socket = io(ws_daemon, {
    withCredentials: true,
    transports: ws_transports,
    auth: { tab: livepush.tab, channels: ["orders"] },
  });

  socket.on("connect", () => {
    socket.emit("login", () => {
      ws_status("live", "Live");
      if (!socket.recovered) ws_orders_load(); // what happened before this page was listened for
    });
  });

  socket.on("lock", ws_order_lock);
  socket.on("done", ws_order_done);
  socket.on("free", ws_order_free);
  socket.on("livepush:resync", ws_orders_load);
  socket.on("livepush:presence", ws_present);
  socket.on("livepush:gone", ({ channel }) => channel === "orders" && ws_access(null));
  socket.on("livepush:back", ({ channel, audience }) => channel === "orders" && ws_access(audience));

  ws_locks_by(async (order) => {
    const request = { channel: "orders", type: "lock", data: { order } };
    const answer = await socket.timeout(20000).emitWithAck("livepush:call", request);
    if (!answer.ok) throw new Error(answer.message);
    return answer.data;
  });

  function lost(text) {
    ws_present({ now: null });
    ws_access(); // the next connection tells
    if (socket.active) ws_status("wait", "Connecting…");
    else ws_status("off", "Not live: " + text);
  }

  socket.on("disconnect", (why) => lost(why === "io server disconnect" ? "reload the page to see changes" : why));
  socket.on("connect_error", (error) => lost(error.message));
})();
