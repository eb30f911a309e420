// Why a camera or microphone cannot be had, in words.

export function reasonOf(error, device) {
  if (!navigator.mediaDevices) return `this browser gives a page no ${device} unless it comes over https (or from this machine's server)`;
  if (error.name === 'NotFoundError') return `there is no ${device}`;
  if (error.name === 'NotAllowedError') {
    const file = location.protocol === 'file:' ? '; some browsers allow none to a file from the disk' : '';
    return `the browser did not allow the ${device}${file}`;
  }
  if (error.name === 'NotReadableError') return `another program is using the ${device}`;
  return `the ${device} cannot be used (${error.message})`;
}
