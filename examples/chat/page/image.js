// Images before they are sent: small enough, or made so.

// What the application accepts, too.
const limit = 500000;
const types = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];


// Gives {bytes, type, name, before}; before is the size of what was too large.

export async function prepare(file) {
  let picture;

  try {
    picture = await createImageBitmap(file);
  } catch (error) {
    throw new Error(`“${file.name}” is not an image that can be shown here`);
  }

  try {
    const fits = types.includes(file.type) && file.size <= limit;
    const blob = fits ? file : await shrink(picture);

    return {
      bytes: await blob.arrayBuffer(), type: blob.type, name: file.name,
      before: fits ? 0 : file.size,
    };
  } finally {
    picture.close();
  }
}


async function shrink(picture) {
  const larger = Math.max(picture.width, picture.height);

  for (const side of [1600, 1200, 800, 500]) {
    const scale = Math.min(1, side / larger);
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');

    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));

    // A JPEG has no transparency.
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);

    const blob = await new Promise((done) => {
      canvas.toBlob(done, 'image/jpeg', .85);
    });

    if (blob && blob.size <= limit) {
      return blob;
    }
  }

  throw new Error('This image is too large');
}
