/** Numbers of Linux's user interface (`include/uapi/linux/*.h`, x86-64 and arm64 alike unless said). */
export const AF = { UNIX: 1, INET: 2, NETLINK: 16, PACKET: 17, XDP: 44 } as const;
export const SOCK = { DGRAM: 2, RAW: 3, NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;
export const SOL = { SOCKET: 1, PACKET: 263, XDP: 283 } as const;
export const SO = { PRIORITY: 12, SNDBUF: 7, RCVBUF: 8, SNDBUFFORCE: 32, RCVBUFFORCE: 33 } as const;
export const PACKET = {
  ADD_MEMBERSHIP: 1,
  RX_RING: 5,
  COPY_THRESH: 7,
  VERSION: 10,
  RESERVE: 12,
  VNET_HDR: 15,
  FANOUT: 18,
  QDISC_BYPASS: 20,
  IGNORE_OUTGOING: 23,
  MR_PROMISC: 1,
} as const;
export const MSG = { DONTWAIT: 0x40, TRUNC: 0x20 } as const;
export const ETH_P_ALL = 0x0003;
export const O = { RDONLY: 0, RDWR: 2, NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;
export const EFD = { NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;
export const MAP = { SHARED: 1, FIXED: 0x10, ANONYMOUS: 0x20, POPULATE: 0x8000 } as const;
export const PROT_READ_WRITE = 3;
export const CLONE_NEWNET = 0x40000000;
export const IFF = { UP: 0x1, PROMISC: 0x100, LOWER_UP: 0x10000, RUNNING: 0x40 } as const;
export const POLL = { IN: 1, OUT: 4, ERR: 8, HUP: 16, NVAL: 32 } as const;
export const EAGAIN = 11;
export const PAGE_SIZE = 4096;
