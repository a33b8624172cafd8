"""One peer of libtorrent with its default settings, but for talking to nobody who was not named.

seed    ADDRESS TORRENT DIRECTORY           says "ready" when it has checked the content, and goes on
fetch   ADDRESS TORRENT DIRECTORY PEER...   ends when the content is there
"""

import sys
import time

import libtorrent

role, address, torrent, directory, *peers = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": address,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # TCP only: over uTP, which gives way to everything, 1 GiB takes two minutes here.
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    # All peers are on one machine here.
    "allow_multiple_connections_per_ip": True,
})
handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": directory})
while role == "fetch" and handle.status().state == libtorrent.torrent_status.checking_files:
    time.sleep(0.001)
for peer in peers:
    host, port = peer.rsplit(":", 1)
    handle.connect_peer((host, int(port)))
while not handle.status().is_seeding:
    time.sleep(0.002)
if role == "seed":
    print("ready", flush=True)
    while True:
        time.sleep(60)
