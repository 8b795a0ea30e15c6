"""For each rule a schedule that goes wrong without it: found by chance and made short, or written by hand."""

from __future__ import annotations

SCHEDULES: dict[str, str] = {
    "adrift": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 link:1 read:1 read:1 link:1 route:1 "
        "read:1 link:1 link:1 link:1 route:1 read:1 connect:0 finish_job:0 receive:0 cut_browser:0 publish:16 "
        "publish:16 send:0 send:0 send:0 route:2 route:2 deliver:5 publish:1 publish:1 publish:1 send:1 "
        "send:1 send:1 send:1 route:4 route:4 route:4 deliver:5 restart_worker:0 restart_worker:1 publish:0 "
        "publish:0 publish:0 send:0 send:0 send:0 send:0 route:6 route:6 route:6 deliver:5 publish:1 "
        "publish:1 publish:1 send:1 send:1 send:1 send:1 route:8 route:8 route:8 deliver:5 connect:3"
    ),
    "back_reloads": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:0 receive:1 "
        "serve:0 change:867 sweep:101 finish_job:1851 change_and_publish:3647"
    ),
    "base": (
        "link:1 link:1 route:0 link:1 read:9 link:1 link:1 route:0 read:9 connect:2505 finish_job:103 "
        "publish:2245 publish:609 send:1933 nack_log:1850"
    ),
    "channel_positions": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "serve:0 receive:0 change:2 send:0 send:0 route:1 deliver:0 finish_job:0 receive:0 change:2 "
        "publish:25 send:1 send:1 route:2 deliver:0 publish:17 send:1 route:2 deliver:0 receive:0 "
        "cut_browser:0"
    ),
    "check": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:0 finish_job:0 "
        "make_log_anew:2553 receive:2782 cut_browser:3903 publish:2598"
    ),
    "check_copy": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 publish:16 "
        "send:0 send:0 route:2 read:0 publish:17 send:1 send:1 route:1 make_log_anew:0 cut_publisher:0 link:1 "
        "link:1 route:1 read:1 link:1 link:1 link:1"
    ),
    "coalesce_unsent": (
        "link:1 link:1 route:0 read:9 change:2509 link:2653 link:421 send:3760 change:1653 publish:3573 "
        "cut_publisher:3628 link:3835 route:1473 read:3675 connect:2749 finish_job:1275 change:1413"
    ),
    "control_at_receipt": (
        "link:0 link:0 route:0 read:8 link:0 link:3834 link:2952 route:2575 read:3016 publish:1543 "
        "publish:3476 send:301 connect:3747 read_database:3205 change:2168 publish:383 send:1194 route:3050 "
        "finish_job:3335 route:1270 turn:2062 publish:1997 send:1892 route:1959 send:3919 route:1139 "
        "deliver:3500"
    ),
    "entry_position": (
        "link:0 link:1 link:0 link:1 route:0 route:0 read:8 read:9 link:0 link:1 link:0 link:1 link:0 link:1 "
        "route:0 read:8 connect:4 finish_job:0 receive:1 publish:867 send:3154 route:2372 route:3563 "
        "read:1709 publish:1849 kill:3898 publish:2841 send:2125 publish:1284 route:3874 send:2265 route:1503 "
        "connect:976 route:3744 read:1765 finish_job:1968 receive:2105 cut_browser:8"
    ),
    "epoch": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 change_and_publish:3361 read:3385 "
        "change:3349 connect:2617 read_database:1724 change_and_publish:177"
    ),
    "floor": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "cut_browser:0 publish:16 publish:16 publish:16 publish:17 publish:17 publish:17"
    ),
    "go_back": ("change:1009 send:3090 nack:427"),
    "gone_freezes": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "serve:0 receive:0 change:2 send:0 send:0 route:1 deliver:0 finish_job:0 receive:0 change:2 "
        "publish:25 send:1 send:1 route:2 deliver:0 heartbeat:0 receive:0 cut_browser:0"
    ),
    "held": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:8 finish_job:0 publish:1063 "
        "publish:2031 turn:2013 send:3116 nack_log:2406"
    ),
    "held_keeps_back": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 link:1 read:1 read:1 link:1 route:1 "
        "read:1 link:1 link:1 link:1 route:1 connect:0 finish_job:0 receive:0 publish:16 publish:16 send:0 "
        "send:0 send:0 nack_log:0 route:3 publish:17 send:1 send:1 route:2 read:6 receive:0 cut_browser:0 "
        "read:9 connect:3"
    ),
    "high_water": (
        "link:14 change:3057 link:4064 nack:2667 read:1008 link:2608 link:3184 change:993 link:942 route:2330 "
        "read:1478 connect:1411 publish:1685 connect_second:301 change:2089 change:921"
    ),
    "hole_in_ring": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:0 finish_job:0 receive:0 "
        "serve:0 publish:1499 publish:43 send:1099 nack_log:1163 route:954 read:2449 advance:166 advance:3494 "
        "advance:2378"
    ),
    "hole_suspends": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 publish:24 "
        "send:0 send:0 route:2 route:1 hear:0 read:0 cut_process:0 change:8 send:0 route:1 hear:0 publish:16 "
        "send:0 route:1 publish:25 publish:25 publish:25 send:1 send:1 send:1 send:1 route:1 route:1 route:1 "
        "link:0 read:0 trim:3 trim:1"
    ),
    "keep_allowed": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:0 finish_job:0 receive:0 "
        "serve:0 publish:3693 change_and_publish:2910 publish:712 publish:652 publish:984"
    ),
    "late_position_reloads": (
        "link:0 link:0 link:1 link:1 route:1 read:1 link:1 link:1 link:1 route:1 read:1 connect:2 "
        "finish_job:0 receive:0 subscribe:2 serve:0 publish:24 send:0 send:0 route:2 deliver:1 "
        "connect_second:5 receive:0 finish_job:0 receive:1"
    ),
    "low": (
        "link:1 link:1 route:0 link:1 read:9 link:1 link:1 route:0 read:9 connect:2505 finish_job:103 "
        "publish:2245 publish:609 send:1933 nack_log:1850"
    ),
    "old_resync_counts": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:0 receive:1 "
        "heartbeat:171 connect:762 connect_second:3979 connect:677 heartbeat:1889 serve:417 cut_browser:1836 "
        "publish:2420 publish:457 publish:3322 publish:2657 heartbeat:3942 publish:4013 publish:268 "
        "publish:3883 publish:2112"
    ),
    "oldest_read": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "send:0 publish:16 send:0 route:2 publish:16 send:0 route:2 route:1 hear:0 publish:16 send:0 route:1 "
        "trim:3 kill:0"
    ),
    "on_from_the_ring": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 change:2 publish:17"
    ),
    "outbox_numbers": ("turn:4027 publish:3766 start_relay:1139"),
    "overflow_first": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "serve:0 publish:16 publish:16 publish:16 send:0 send:0 send:0 send:0 publish:17 publish:25 "
        "publish:17 send:1 send:1 send:1 send:1 route:1 route:1 route:1 deliver:4 route:2 route:2 deliver:0 "
        "heartbeat:0 route:2 publish:6 publish:6 turn:0 send:2 send:2 send:2 route:3 deliver:4 route:3 "
        "route:3 route:3 hear:0 hear:0 publish:16 publish:16 send:0 send:0 route:3 route:3 deliver:4 "
        "receive:16 flush:0 receive:8 cut_browser:0"
    ),
    "overflow_record": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:2818 "
        "change_and_publish:1141 publish:557 change_and_publish:1885 change_and_publish:1489 publish:3313 "
        "change:3933 change_and_publish:3270 publish:1261 publish:2277"
    ),
    "overflow_told": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 receive:0 "
        "serve:0 publish:16 publish:16 publish:17 publish:25 publish:17 publish:6 publish:6 turn:0 publish:16 "
        "publish:16 publish:16"
    ),
    "page_version": (
        "link:1 link:1 route:0 link:1 read:9 link:1 link:1 route:0 read:9 connect:1352 publish:2885 publish:960"
    ),
    "probe": (
        "link:0 link:0 publish:16 send:0 route:0 publish:16 send:0 route:0 publish:16 send:0 route:0 "
        "publish:16 send:0 route:0 hear:0 send:0 route:0 hear:0 publish:16 send:0 route:0 hear:0 publish:16 "
        "send:0 route:0 hear:0 publish:16 send:0 route:0 hear:0 publish:16 send:0 route:0 hear:0 publish:16 "
        "send:0 route:0 read:8 read:8 make_log_anew:0"
    ),
    "queue_base": (
        "link:0 link:1 link:0 link:1 route:0 route:0 read:8 read:9 link:0 link:1 link:0 link:1 link:1 route:0 "
        "read:9 connect:4 finish_job:0 publish:2837 publish:180 send:3430 route:1472 publish:2388 send:3834 "
        "route:129 change_and_publish:3287 route:1137 send:277 route:689 nack:3152 deliver:3087 deliver:3451"
    ),
    "reader_for_life": (
        "link:1 link:1 route:0 link:0 link:1 read:9 link:0 link:1 route:0 link:0 link:1 route:0 read:8 read:9 "
        "connect:0 finish_job:0 receive:0 publish:3376 link:3870 send:666 publish:1539 publish:3133 route:95 "
        "publish:140 publish:3160 kill:1765 deliver:822 broker_down:2247 publish:1568"
    ),
    "reattach_check": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:0 publish:825 "
        "make_log_anew:1154 publish:1792 publish:1256"
    ),
    "relay_low": (
        "link:0 link:0 route:1 read:0 link:0 link:0 link:0 route:1 read:0 connect:0 finish_job:0 publish:6 "
        "publish:6 turn:0 send:2 send:2 nack_log:0"
    ),
    "replay_offset": (
        "link:1 link:1 route:0 read:9 publish:289 link:753 link:2093 link:635 route:754 read:2667 send:277 "
        "connect:955 finish_job:3827 nack:4032 nack:1593 deliver:2143 publish:3746 receive:2783 kill:1427"
    ),
    "resubscribe": (
        "link:14 change:3115 link:4064 route:3444 read:1008 link:2608 link:3184 link:942 route:2330 read:1478 "
        "connect:1927 change_and_publish:1279 connect_second:301"
    ),
    "start_over": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:0 finish_job:0 receive:0 "
        "serve:0 connect_second:45 publish:1869 send:2074 route:2899 cut_browser:2313 make_log_anew:863"
    ),
    "suspend": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:0 receive:1 "
        "serve:0 change_and_publish:3755"
    ),
    "unlocated": (
        "link:0 link:1 link:0 link:1 route:0 route:0 read:8 read:9 link:0 link:1 link:0 link:1 link:0 link:1 "
        "route:0 route:0 read:8 read:9 connect:0 finish_job:0 receive:0 publish:3556 connect_second:17 "
        "send:3810 route:3518 connect_second:86 deliver:1721 finish_job:35 connect_second:3111 "
        "cut_browser:3020 finish_job:3379"
    ),
    "wait_for_the_log": (
        "link:1 link:1 route:0 read:9 link:1 link:1 link:1 route:0 read:9 connect:4 finish_job:0 receive:1 "
        "serve:0 receive:1 publish:2490 cut_browser:1339 make_log_anew:3848"
    ),
}
