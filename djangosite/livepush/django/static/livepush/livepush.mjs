// The same livepush as a module. The work is in livepush.js, which is safe to load twice: a page that has it by
// {% livepush %} as well keeps one connection.
import "./livepush.js";

const livepush = globalThis.livepush;

export default livepush;
export const { call, connect, close, on, onStatus, onResync, onAccess, onPresence, onError, presence, tab } = livepush;
