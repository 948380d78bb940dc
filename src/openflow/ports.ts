/** Reserved OpenFlow port numbers, as 16 bits; 1.1 and later widen them with 0xffff0000. */
export { OFPP } from '../flow/ofpp.ts';
