/** `ovs-vsctl`: reads and changes the switch's configuration in its database (ovs-vsctl(8)). */
import { main } from './vsctl/program.ts';

void main(process.argv.slice(2));
