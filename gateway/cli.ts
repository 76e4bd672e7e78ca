import { CommanderError } from 'commander';
import { present } from './errors.ts';
import { makeProgram } from './program.ts';

try {
  const program = await makeProgram(process.argv[2]);
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = present(error);
}
