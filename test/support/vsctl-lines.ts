/**
 * Command lines of `ovs-vsctl`, good and bad, in an order in which they build on each other. Quotes are a shell's single ones.
 * A line beginning with `~` prints rows in no particular order; after one with `#` a new database is used.
 */
export const VSCTL_LINES = String.raw`

foo
--foo
-- --foo list-br
--if-exists list-br
list-br a
add-br
add-br br0
add-br br0
add-br ''
add-br a b c d
add-br a b
add-br x br0 5000
add-br x br0 abc
add-br x nobr 5
add-br y nobr 5
add-port br0 p1 tag=5
set interface p1 type=internal 'options:a="b c"' external_ids:x=y 'external_ids:z=has,comma'
add-br p1
list
list foo
~list b
list brid br1
list c
get bridge br0 foo
get bridge br0 name:x
get bridge br0 external_ids:x
get bridge br0 other
--if-exists get bridge br0 external_ids:x
get bridge brX
--if-exists get bridge brX name
get bridge
set bridge br0 foo=bar
set bridge br0 name=bar
set bridge br0 stp_enable=maybe
set bridge br0 flood_vlans=1,2,9999
set bridge br0 flood_vlans=a
set bridge br0 fail_mode=a
set bridge br0 fail_mode=secure,standalone
set bridge br0 external_ids=a
set bridge br0 external_ids:a
set bridge br0 external_ids:a:b=c
set bridge br0
set bridge br0 stp_enable:a=b
set bridge br0 _uuid=5
clear bridge br0 stp_enable
clear bridge br0 name
add bridge br0 fail_mode secure
add port p1 tag 5
add port p1 tag 6
remove port p1 interfaces 5
remove port p1 trunks 5
add br br0 external_ids a
add br br0 external_ids a=b c=d
add br br0 external_ids a=z
get br br0 external_ids
remove br br0 external_ids a
remove br br0 external_ids c=x
get br br0 external_ids
remove br br0 external_ids c=d
get br br0 external_ids
add br br0
create br
create br name=x
--id=foo create br name=x
--id=@foo create br name=x
destroy
destroy br
destroy br nn
--if-exists destroy br nn
--all destroy br x
wait-until br br0 name=br0
wait-until foo
comment a b
find
find br name=br0 nam
--columns=foo list br
--columns= list br
--columns list br
--columns=name --columns=ports list br br0
--id list br
--id=@x get br br0 -- --id=@x get br br0 name
set br br0 ports=@foo
del-br nono
--if-exists del-br nono
del-port nono
del-port br0
del-port br0 br0
del-port brx p1
--with-iface del-port xx
--with-iface --if-exists del-port xx
port-to-br p1
port-to-br br0
iface-to-br xx
iface-to-br br0
br-to-vlan xx
br-to-vlan br0
br-to-parent br0
br-exists br0
br-exists xx
list-br -- br-exists xx -- list-br
br-set-external-id br0 a
br-set-external-id br0 a b
br-get-external-id br0
br-get-external-id br0 a
br-get-external-id br0 b
add-bond br0 bond0 e1
add-bond br0 bond0 e1 e2
add-bond br0 bond0 e1 e2
--may-exist add-bond br0 bond0 e2 e1
--may-exist add-bond br0 bond0 e2 e3
add-bond-iface bond0 e3
add-bond-iface bond0 e3
--may-exist add-bond-iface bond0 e3
add-bond-iface bond0 p1
--may-exist add-bond-iface bond0 p1
del-bond-iface bond0 e9
del-bond-iface bond0 e3
del-bond-iface e2
del-bond-iface e1
del-bond-iface bond0 p1
list-ifaces br0
list-ports br0
list-ports xx
--version=3
--timeout
--timeout=abc list-br
--timeout=0 list-br
--db
--no-wait=3 list-br
-x
--col list-br
--colu=name list br br0
--onel --one list-br
--format=xx list-br
--data=xx list-br
-ftable -- --columns=name list br br0
-fcsv -- --columns=name,external_ids list interface p1
-fhtml -- --columns=name,external_ids,_uuid list interface p1
-fhtml -djson -- --columns=name,external_ids list interface p1
-fjson -- --columns=name,external_ids list interface p1
-fjson --pretty -- --columns=name,external_ids list interface p1
-flist -dbare -- --columns=name,external_ids,options list interface p1
-ftable -djson -- --columns=name,external_ids,options,mtu list interface p1
-ftable --max-column-width=4 -- --columns=name,external_ids list interface p1
--bare -- --columns=name,external_ids list interface p1
--columns=name list port p1 -- --columns=name list interface p1
--no-headings -- --columns=name,tag list port p1
-ftable -- --columns=name list mirror
--oneline -- --columns=name list port p1 -- list-br -- br-to-vlan br0 -- set br br0 stp_enable=true
--no list-br
--i list-br
--may add-br q
-- --may add-br q
--verbose=foo list-br
-- -x list-br
list-br --foo
del-br q --if-exists
-- --if-exists= del-br q
--may-exist -- --may-exist add-br q
-- --may-exist
-- --id create br
-- --id=x --id=y create br name=x
-- --may-exist --may-exist add-br br0
--dry-run add-br dd
list-br
--db=foo list-br
--db=unix:/nonexistent list-br
set-controller br0 foo
set-controller br0 tcp:1.2.3.4
get-controller br0
del-controller br0
--inactivity-probe=500 set-controller br0 tcp:1.2.3.4 ptcp:1234
get-controller br0
~--columns=target,inactivity_probe list controller
get-fail-mode br0
set-fail-mode br0 foo
set-fail-mode br0 secure
get-fail-mode br0
del-fail-mode br0
set-manager foo ptcp:6640
get-manager
--inactivity-probe=5 set-manager tcp:1.1.1.1
--columns=target,inactivity_probe list manager
del-manager
get-manager
get-ssl
set-ssl a b c
get-ssl
--bootstrap set-ssl a b d
get-ssl
del-ssl
get-ssl
add-aa-mapping br0 5 6
add-aa-mapping br0 x 6
add-aa-mapping br0 7 5000
get-aa-mapping br0
del-aa-mapping br0 5 6
get-aa-mapping br0
list-dp-cap system
add-zone-tp system zone=1 icmp_first=1 icmp_reply=2
set open . datapaths:system=@d -- --id=@d create datapath datapath_version=3
add-zone-tp system zone=1 icmp_first=1 icmp_reply=2
add-zone-tp system zone=1 icmp_first=1 icmp_reply=2
list-zone-tp system
--may-exist add-zone-tp system zone=1 icmp_first=1 icmp_reply=2
add-zone-tp system zone=2 icmp_f=1
del-zone-tp system zone=2
del-zone-tp system zone=1
list-zone-tp system
list-dp-cap system
set datapath system x=y
add-br fb br0 7
add-br fb br0 7
--may-exist add-br fb br0 8
--may-exist add-br fb br0 7
--may-exist add-br fb
--may-exist add-br br0 br0 7
add-br fb2 fb 7
add-br fb2 br0 7
add-port fb e7
list-ports fb
list-ports br0
port-to-br e7
del-port br0 e7
del-port fb e7
--real list-br
--fake list-br
br-to-vlan fb
br-to-parent fb
br-set-external-id fb k v
br-get-external-id fb
br-get-external-id fb k
iface-to-br e7
set-controller fb tcp:1.1.1.1
get-controller fb
set-fail-mode fb secure
del-br br0
list-br
# another database
add-br 'a b'
add-port 'a b' 'c d' type=internal
add-port 'a b' cd tag=9 trunks=1,2 external_ids:a=b
add-port 'a b' ce tag=9999
add-port 'a b' ce foo=5
--may-exist add-port 'a b' cd
--may-exist add-br q
--may-exist add-port q cd
add-port q ''
add-port q cd
add-bond q cd x y
add-port q x foo
get port cd tag trunks
set br q 'external_ids:"a b"=c'
set br q 'external_ids:a b=c'
get br q external_ids
get br q 'external_ids:"a b"'
get br q 'external_ids:a b'
set br q 'external_ids={a=b,c=d}'
get br q external_ids
set br q 'external_ids={a=b c=d'
set br q 'external_ids={a=b}x'
set br q 'external_ids={a=b,a=c}'
set br q 'external_ids={}'
set br q external_ids=
set br q external_ids:x=
set br q 'external_ids:x=""'
get br q external_ids
set br q 'flood_vlans=[1,2'
set br q 'flood_vlans=[1,2]x'
set br q flood_vlans=1,1
set br q flood_vlans=1-5
get br q flood_vlans
set br q flood_vlans=5-1
set br q 'flood_vlans=1 2 3'
set br q 'flood_vlans=1,,2'
set br q 'flood_vlans=1;2'
set br q 'fail_mode=[secure]'
set br q 'fail_mode=""'
set br q 'fail_mode="secure'
set br q 'fail_mode=sec\'
set br q protocols=OpenFlow10,OpenFlow13
get br q protocols
set br q datapath-type=foo
get br q datapath_type datapath-type DATAPATH_TYPE
set br q datapath=x
~--columns=name find br datapath-type!=foo
--columns=name find br 'flood_vlans{>=}1'
--columns=name find br 'flood_vlans{>=}1,9'
--columns=name find br 'external_ids:x=""'
--columns=name find br external_ids:x!=y
~--columns=name find br 'external_ids:x{!=}y'
--columns=name find br external_ids:zzz!=y
~--columns=name find br 'external_ids:zzz{!=}y'
~--columns=name find br 'external_ids:x{in}y,"",z'
--columns=name find br 'name{in}q,r'
--columns=name find br name:x=q
--columns=name find br foo=q
--columns=name find br _uuid=5
set port cd 'tag=[]'
get port cd tag
set open . next_cfg=abc
set open . next_cfg=99999999999999999999
set open . next_cfg=9223372036854775807
get open . next_cfg
set open . next_cfg=0x10
set open . next_cfg=5
list open xx
list ssl .
get open . external-ids
list br aaaa
list br 11111111-1111-1111-1111-111111111111
set interface cd mtu_request=0
set interface cd mtu_request=10000000000000000
get interface cd mtu_request
set interface cd ofport_request=70000
set interface cd options:peer=foo type=patch
get interface cd options:peer type
get interface cd options:pee
get br q external_ids:
get br q :x
get br q ''
set br q =5
set br q external_ids:=5
set br q 'external_ids:a=b c'
get br q external_ids:a
set br q flow_tables:a=b
set br q flow_tables:300=@x
clear interface cd options type
clear interface cd options
add br q flood_vlans 7 8 9
add br q flood_vlans 7
add br q flood_vlans a
remove br q flood_vlans 7 10
get br q flood_vlans
add br q stp_enable true
remove br q stp_enable true
remove br q stp_enable false
remove br q name q
add br q name q
--id=11111111-1111-1111-1111-111111111112 create queue dscp=5
list queue
destroy queue 1111
list queue
--force set br q name=zz
-- --id=@q create queue -- --id=@q create qos
create qos queues=1=@q type=foo -- --id=@q create queue dscp=6
--columns=type,queues list qos
--all destroy qos -- --all destroy queue
list qos
-- --id=@m create mirror name=m select-dst-port=@p output-port=@p -- --id=@p get port cd -- set bridge q mirrors=@m
-- --id=@p get port cd -- --id=@m create mirror name=m select-dst-port=@p output-port=@p -- set bridge q mirrors=@m
--columns=name,select_all,output_port list mirror m
add-br m1 -- add-br m1
add-br m1 -- add-port m1 m1
add-br m1 -- add-port m1 mm -- list-ports m1 -- del-br m1
add-br m2 -- list-br -- del-br m2 -- list-br
--bare get interface cd name
set open . other_config:s=t external_ids:u=v
set br q other_config:hwaddr=00:00:00:00:00:01 other_config:x=y
emer-reset
get br q other_config flood_vlans fail_mode mirrors protocols stp_enable
get open . other_config external_ids
--id=@x get br q -- set open . bridges=@x
list-br
init
init a
del-br q -- del-br q
clear open . bridges ssl
show
# A third one.
--oneline add-br br0 -- add-port br0 p0 -- list-br -- list-ports br0 -- get bridge br0 name
~--oneline -- --columns=name list interface
--dry-run --oneline -- del-br br0 -- list-br
list-br
-- --id=@a create queue dscp=3 -- --id=@b create qos type=x queues:1=@a -- set port p0 qos=@b
-- --id=@a create queue dscp=3
create queue dscp=99
clear port p0 qos -- --all destroy qos -- --all destroy queue
set-controller br0 tcp:1.2.3.4 tcp:[::1]:6653 ssl:host:1 ptcp: unix:/x punix:/y
get-controller br0
--inactivity-probe=5000 set-controller br0 tcp:1.2.3.4
--columns=target,inactivity_probe list controller
--inactivity-probe=x set-manager ptcp:6640
add-br vb br0 7
--fake list-br
--real list-br
--real --fake list-br
add-port vb vp
list-ports br0
br-set-external-id vb k v
br-get-external-id vb
br-get-external-id br0
--may-exist add-br vb br0 8
--may-exist add-br vb
--may-exist add-port br0 vp
--with-iface del-port br0 vp
add-bond br0 bo a b lacp=active -- add-bond-iface bo c -- list-ifaces br0
--with-iface del-port a
--fake-iface add-bond br0 bo2 d e
set port bo2 external_ids:x=y external_ids:z=w
--if-exists get port bo2 external_ids:x external_ids:q
~--columns=name find port 'external_ids:x{<=}z'
~--columns=name find port 'external_ids{>=}{x=y}'
--columns=name find port 'name~bo'
add bridge br0 flood_vlans 5000
set bridge br0 external_ids='{a="b, c",d=e}'
remove bridge br0 external_ids a=x
remove bridge br0 external_ids a d=e
-- --id=@p get port bo2 -- --id=@m create mirror name=m0 select-dst-port=@p output-port=@p -- set bridge br0 mirrors=@m
-- --id=@p get port bo2 -- --id=@p get port bo
del-br br0 -- list-br
`
  .split('\n')
  .slice(1, -1);

/** Splits as a shell does, single quotes only. */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  for (const match of line.matchAll(/(?:'[^']*'|[^' ])+/g)) words.push(match[0].replaceAll("'", ''));
  return words;
}
