/** OpenFlow actions and instructions as JSON, derived from their kinds (`actions/types.ts`). See `flow/json.ts` for conventions. */
import { type ActionJson, fieldValueJson, type JsonObject, membersJson } from '../../flow/json.ts';
import { formatPort, formatTable, type Names } from '../../flow/names.ts';
import { formatAction, formatActions } from '../actions/index.ts';
import type { Ofpact } from '../actions/types.ts';
import { OFPP } from '../ports.ts';

/** `text` is what `ovs-ofctl` prints; `list` the actions in their order, none for `drop`. */
export interface ActionsJson extends JsonObject {
  readonly text: string;
  readonly list: readonly ActionJson[];
}

export function actionsJson(actions: readonly Ofpact[], names?: Names): ActionsJson {
  return { text: formatActions(actions, names), list: actions.map((a) => actionJson(a, names)) };
}

/** Members that name a port or a table have their name beside them, if there is one. */
function actionJson(a: Ofpact, names?: Names): ActionJson {
  const text = formatAction(a, names);
  if (a.kind === 'set_field') {
    return { action: a.kind, text, field: a.field.name, to: fieldValueJson(a.field, a.value, a.mask, names) };
  }
  const members = membersJson(a, (name, value) => {
    switch (name) {
      case 'port':
        return portJson('port', value as number, names);
      case 'inPort':
        return value === OFPP.IN_PORT ? { in_port: null } : portJson('in_port', value as number, names);
      case 'table':
        return value === 255 ? { table: null } : tableJson('table', value as number, names);
      case 'recircTable':
        return value === null ? { recirc_table: null } : tableJson('recirc_table', value as number, names);
      case 'actions':
        return { actions: (value as readonly Ofpact[]).map((inner) => actionJson(inner, names)) };
      default:
        return undefined;
    }
  });
  return { action: a.kind, text, ...members };
}

/** A port's number and, if it is reserved or `names` knows one, its name. */
export function portJson(member: string, port: number, names?: Names): JsonObject {
  const isNamed = port >= OFPP.MAX || names?.port?.(port) !== undefined;
  if (!isNamed) return { [member]: port };
  return { [member]: port, [`${member}_name`]: names?.port?.(port) ?? formatPort(port) };
}

export function tableJson(member: string, table: number, names?: Names): JsonObject {
  const name = names?.table?.(table);
  return name === undefined ? { [member]: table } : { [member]: table, [`${member}_name`]: formatTable(table, names) };
}
