/** For `parse-flow(s)`: the formats that could carry flows, and their text in the first of them. */
import { formatProtocols, PROTOCOLS } from '../../openflow/flow-text.ts';
import type { FlowMod, OfpVersion } from '../../openflow/messages.ts';
import { formatDecoded } from '../../openflow/text.ts';
import { decodeMessage, encodeMessage } from '../../openflow/wire.ts';
import { fatal, print, settings } from './context.ts';

interface Chosen {
  readonly usable: string;
  readonly name: string;
  text(flow: FlowMod): string;
}

let count = 1;

export function chooseProtocol(usable: number, hasTable: boolean): Chosen {
  const both = usable & settings.protocols;
  if (both === 0) {
    if (usable !== 0) print(`usable protocols: ${formatProtocols(usable, hasTable)}\n`);
    return fatal('no usable protocol');
  }
  const bit = both & -both;
  const version = (bit <= PROTOCOLS.NXM ? 1 : 2 + Math.log2(bit / PROTOCOLS.OpenFlow11)) as OfpVersion;
  const isNxm = bit === PROTOCOLS.NXM;
  const name = isNxm ? 'NXM' : `${version > 2 ? 'OXM-' : ''}OpenFlow1${version - 1}`;
  return {
    usable: formatProtocols(usable, hasTable),
    name: bit <= PROTOCOLS.NXM ? `${name}${hasTable ? '+' : '-'}table_id` : name,
    text: (flow) => {
      const options = { tableId: hasTable, flowFormat: isNxm ? ('nxm' as const) : ('openflow10' as const) };
      const bytes = encodeMessage(version, count++, flow, options);
      return formatDecoded(decodeMessage(bytes, { ...options, tableId: true }), bytes, settings.verbosity + 1);
    },
  };
}
