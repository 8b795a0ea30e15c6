// Types of livepush.js (`globalThis.livepush`) and livepush.mjs. Described in docs/reference/javascript.md.

export interface Options {
  /** Where the daemon is; null or missing: the page's host, `port` and `path`. */
  url?: string | null;
  port?: number;
  path?: string;
  /** The least and the greatest wait before coming back, milliseconds; the daemon's own figures override it. */
  retry?: [number, number];
  /** Seconds; twice as long a silence is the end of a connection. The daemon's own figure overrides it. */
  heartbeat?: number;
  /** Gives a ticket for each connection, where there is no cookie. */
  ticket?: (() => string | Promise<string>) | null;
}

export interface Event {
  channel: string;
  type: string;
  /** `<publisher>-<number>`; null for a live event. */
  id: string | null;
  /** When Django published it, milliseconds since 1970. */
  ts: number | null;
  key: string | null;
  version: number | null;
}

export type Status =
  | { state: "idle" | "connecting" | "offline" }
  | { state: "online"; user: number | string | null }
  | { state: "waiting"; delay: number; attempt: number; code: number; reason: string }
  | { state: "closed"; code: number; reason: string; final: true };

export interface Problem {
  code: string;
  message: string;
  channel: string | null;
  retry: boolean;
}

/** What a call fails with. */
export interface CallError extends Error {
  name: "CallError";
  /** The site's own (`CallRefused`), the daemon's, or `offline`, `lost`, `busy`. */
  code: string;
  /** Whether the same may succeed a little later. */
  retry: boolean;
}

/** How who is on a channel has changed. */
export interface Attendance {
  channel: string;
  join: Array<number | string>;
  leave: Array<number | string>;
  /** Why it is not known: `unavailable`, `too_many`, `connection`, `gone`; null where it is. */
  why: string | null;
  /** How many they are; null where that is not known either. */
  count: number | null;
}

export type Unsubscribe = () => void;
export type Reload = (channel: string, why: string) => void;

export interface Livepush {
  readonly tab: string;
  readonly status: Status;
  readonly channels: Record<string, string>;
  connect(options?: Options): void;
  close(): void;
  on<Data = Record<string, unknown>>(
    channel: string,
    type: string,
    callback: (data: Data, event: Event) => void
  ): Unsubscribe;
  call<Answer = Record<string, unknown>>(channel: string, type: string, data?: object): Promise<Answer>;
  onStatus(callback: (status: Status) => void): Unsubscribe;
  onResync(callback: Reload): Unsubscribe;
  onResync(channel: string, callback: Reload): Unsubscribe;
  onAccess(callback: (channel: string, audience: string | null, why: string | null) => void): Unsubscribe;
  onPresence(channel: string, callback: (users: Array<number | string> | null, change: Attendance) => void): Unsubscribe;
  presence(channel: string): Array<number | string> | null;
  onError(callback: (problem: Problem) => void): Unsubscribe;
}

declare const livepush: Livepush;
export default livepush;
export const connect: Livepush["connect"];
export const close: Livepush["close"];
export const on: Livepush["on"];
export const call: Livepush["call"];
export const onStatus: Livepush["onStatus"];
export const onResync: Livepush["onResync"];
export const onAccess: Livepush["onAccess"];
export const onPresence: Livepush["onPresence"];
export const presence: Livepush["presence"];
export const onError: Livepush["onError"];
export const tab: string;

declare global {
  var livepush: Livepush;
}
