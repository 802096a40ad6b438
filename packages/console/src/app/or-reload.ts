/** A tab that is older than the gateway asks for a part that is not there any more: it loads itself anew, once. */
const KEY = "sallyport-reloaded";

export async function orReload<Part>(load: () => Promise<Part>): Promise<Part> {
  try {
    const part = await load();
    sessionStorage.removeItem(KEY);
    return part;
  } catch (error) {
    if (sessionStorage.getItem(KEY) === null) {
      sessionStorage.setItem(KEY, "1");
      location.reload();
    }
    throw error;
  }
}
