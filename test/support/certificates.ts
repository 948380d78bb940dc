import { must, type Sandbox } from './sandbox.ts';

/** An authority (`ca.pem`) and, by it, a key and a certificate for each name: `NAME.key`, `NAME.pem`, in the sandbox. */
export async function certificates(sb: Sandbox, ...names: readonly string[]): Promise<void> {
  const openssl = (line: string) =>
    must(
      'openssl',
      line.split(' ').map((arg) => arg.replace(/^@/, `${sb.dir}/`)),
    );
  await openssl('req -x509 -newkey rsa:2048 -nodes -keyout @ca.key -subj /CN=CA -out @ca.pem');
  for (const name of names) {
    await openssl(`req -newkey rsa:2048 -nodes -keyout @${name}.key -subj /CN=${name} -out @${name}.csr`);
    await openssl(`x509 -req -in @${name}.csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -out @${name}.pem`);
  }
}
