/** Numbers of the `virtio_net_hdr` before a packet (virtio 1.2, 5.1.6). */
export const VNET_HDR_SIZE = 10;
export const VNET = {
  NEEDS_CSUM: 1,
  GSO_NONE: 0,
  GSO_TCPV4: 1,
  GSO_TCPV6: 4,
  GSO_UDP_L4: 5,
  GSO_ECN: 0x80,
} as const;
