/**
 * Writes a translation down as `ofproto/trace` prints it.
 *
 * A place (bridge, table) lies in the list of the place it was reached from. All but the last of a list are set in, so a
 * chain of tail calls runs straight down the page and only detours move to the right.
 */

import { formatMatch } from '../../flow/match-text.ts';
import type { Names } from '../../flow/names.ts';
import { formatActions } from '../../openflow/actions/index.ts';
import type { XlateBridge, XlateObserver, XlatePlace, XlateStep } from './types.ts';

interface Node {
  readonly text: string;
  readonly kind: 'leaf' | 'bridge' | 'table' | 'place';
  readonly steps: Node[];
}

export class TraceText implements XlateObserver {
  private readonly top: Node[] = [];
  private readonly lists: Node[][] = [this.top];
  private readonly namesOf: ((bridge: XlateBridge) => Names) | null;
  /** Those of the bridge the packet is in, and of the bridges it is to go back to. */
  private readonly names: (Names | undefined)[] = [undefined];

  /** With `namesOf`, ports are shown by their names in their bridge. */
  constructor(namesOf: ((bridge: XlateBridge) => Names) | null = null) {
    this.namesOf = namesOf;
  }

  enter(place: XlatePlace): void {
    const here = this.names[this.names.length - 1];
    this.names.push(place.type === 'bridge' ? this.namesOf?.(place.bridge) : here);
    const node: Node = {
      text: this.placeText(place),
      kind: place.type === 'bridge' || place.type === 'table' ? place.type : place.type === 'bucket' ? 'leaf' : 'place',
      steps: [],
    };
    const list = this.lists[this.lists.length - 1];
    if (place.type === 'thaw' && place.resume !== null) {
      node.steps.push({ text: `Resuming from table ${place.resume}`, kind: 'place', steps: [] });
    }
    if (place.type === 'thaw' && place.actions && place.actions.length > 0) {
      node.steps.push({ text: `Restoring actions: ${formatActions(place.actions, here)}`, kind: 'place', steps: [] });
    }
    // The action set follows in the list of the table that began the pipeline.
    const first = place.type === 'action_set' && list[0]?.kind === 'table' ? list[0] : null;
    (first?.steps ?? list).push(node);
    this.lists.push(place.type === 'thaw' ? list : node.steps);
  }

  leave(): void {
    this.lists.pop();
    this.names.pop();
  }

  note(step: XlateStep): void {
    this.lists[this.lists.length - 1].push({ text: this.stepText(step), kind: 'leaf', steps: [] });
  }

  toString(): string {
    const out: string[] = [];
    print(this.top, 0, out);
    return out.join('');
  }

  private placeText(place: XlatePlace): string {
    switch (place.type) {
      case 'bridge':
        return `bridge("${place.bridge.name}")`;
      case 'action_set':
        return '--. Executing action set:';
      case 'bucket':
        return `bucket ${place.id}`;
      case 'thaw':
        return 'thaw';
      case 'table': {
        const head = `${String(place.table).padStart(2)}. `;
        if (!place.rule) {
          return head + (place.miss === 'packet-in' ? 'No match, and a "packet-in" is called for.' : 'No match.');
        }
        const match = formatMatch(place.rule.match, undefined, this.names[this.names.length - 1]);
        const cookie = place.rule.cookie === 0n ? '' : `, cookie 0x${place.rule.cookie.toString(16)}`;
        return `${head}${match}${match ? ', ' : ''}priority ${place.rule.priority}${cookie}`;
      }
    }
  }

  private stepText(step: XlateStep): string {
    switch (step.type) {
      case 'action':
        return formatActions([step.action], this.names[this.names.length - 1]);
      case 'drop':
        return 'drop';
      case 'action_set':
        return step.actions.length > 0
          ? ` -> action set ${step.when}: ${formatActions(step.actions, this.names[this.names.length - 1])}`
          : ` -> action set ${step.when} empty`;
      case 'detail':
        return ` -> ${step.text}`;
      case 'warn':
        return ` >> ${step.text}`;
      case 'plain':
        return step.text;
      case 'error':
        return ` >>>> ${step.text} <<<<`;
    }
  }
}

function print(nodes: readonly Node[], level: number, out: string[]): void {
  nodes.forEach((node, i) => {
    const isInset = node.kind === 'leaf' || i < nodes.length - 1;
    const indent = ' '.repeat((level + (isInset ? 1 : 0)) * 4);
    if (node.kind === 'bridge') out.push(`\n${indent}${node.text}\n${indent}${'-'.repeat(node.text.length)}\n`);
    else out.push(`${indent}${node.text}\n`);
    print(node.steps, level + (isInset ? 2 : 0), out);
  });
}
