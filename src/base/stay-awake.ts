/**
 * Keeps the event loop looking instead of sleeping for a moment after something came in. Who asks one question usually asks
 * the next as soon as it is answered, and to wake a sleeping thread on a sleeping core takes longer than to answer.
 */

/** About two round trips to a peer on the same machine; a lone event costs no more than this. */
const AWAKE_MS = 0.15;

let until = 0;
let isSpinning = false;

export function stayAwake(): void {
  until = performance.now() + AWAKE_MS;
  if (isSpinning) return;
  isSpinning = true;
  setImmediate(spin);
}

/** An immediate that is due makes the loop poll its descriptors without waiting. */
function spin(): void {
  if (performance.now() < until) setImmediate(spin);
  else isSpinning = false;
}
