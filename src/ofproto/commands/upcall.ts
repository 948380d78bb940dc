/** `upcall/*` and `revalidator/*`. */
import { registerCommand } from '../../base/commands.ts';
import { upcallJson } from '../json/datapath.ts';
import { type Backers, datapathName } from './find.ts';

/** Only told: dumps always go by id. */
let isUfidEnabled = true;

export function registerUpcallCommands(backers: Backers): void {
  registerCommand('upcall/show', '', 0, 0, (_args, { format }) => {
    if (format === 'json')
      return JSON.stringify(Object.fromEntries([...backers()].map((b) => [datapathName(b), upcallJson(b)])));
    let text = '';
    for (const backer of backers()) {
      const { revalidator } = backer;
      const { current, average, max, dumpMs } = revalidator.counts;
      text += `${datapathName(backer)}:\n`;
      text += `  flows         : (current ${current}) (avg ${average}) (max ${max}) (limit ${revalidator.flowLimit})\n`;
      text += `  dump duration : ${Math.max(dumpMs, 1)}ms\n`;
      text += `  ufid enabled : ${isUfidEnabled}\n\n`;
      // One revalidator: it lives in the main thread.
      text += `  0: (keys ${backer.dpif.stats().flows})\n`;
    }
    return text;
  });

  const megaflows = (isOn: boolean): string => {
    for (const backer of backers()) {
      backer.upcalls.usesMegaflows = isOn;
      backer.revalidator.purge();
    }
    return `megaflows ${isOn ? 'enabled' : 'disabled'}`;
  };
  registerCommand('upcall/disable-megaflows', '', 0, 0, () => megaflows(false));
  registerCommand('upcall/enable-megaflows', '', 0, 0, () => megaflows(true));

  registerCommand('upcall/disable-ufid', '', 0, 0, () => {
    isUfidEnabled = false;
    return 'Datapath dumping tersely using UFID disabled';
  });
  registerCommand('upcall/enable-ufid', '', 0, 0, () => {
    isUfidEnabled = true;
    return 'Datapath dumping tersely using UFID enabled for supported datapaths';
  });

  registerCommand('upcall/set-flow-limit', 'flow-limit-number', 1, 1, ([text]) => {
    const limit = Number.parseInt(text, 10) || 0;
    for (const backer of backers()) backer.revalidator.flowLimit = limit;
    return `set flow_limit to ${limit}`;
  });

  registerCommand('revalidator/wait', '', 0, 0, async () => {
    for (const backer of backers()) {
      await backer.inForce();
      await backer.revalidator.sweep();
      // What the sweep pushed may have changed tables or MACs.
      await backer.inForce();
    }
    return '';
  });

  registerCommand('revalidator/purge', '', 0, 0, async () => {
    for (const backer of backers()) {
      backer.revalidator.purge();
      await backer.inForce();
    }
    return '';
  });
}
