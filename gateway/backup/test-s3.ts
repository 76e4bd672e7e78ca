import { createRequire } from 'node:module';

/**
 * An S3-compatible server, in a process of its own: FOLDER ADDRESS PORT. It signs a bucket's own path without the slash
 * that minio-go (and so restic) sends, so signatures are not compared; an access key that it does not know is refused.
 */
type Server = new (options: {
  directory: string;
  address: string;
  port: number;
  silent: boolean;
  allowMismatchedSignatures: boolean;
}) => { run(): Promise<unknown> };

const S3rver = createRequire(import.meta.url)('@20minutes/s3rver') as Server;
const [, , directory = '', address = '127.0.0.1', port = '0'] = process.argv;
await new S3rver({
  directory,
  address,
  port: Number(port),
  silent: true,
  allowMismatchedSignatures: true,
}).run();
