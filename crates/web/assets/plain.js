// A screen without a picture: no camera is chosen, nothing fills the window, Escape leads back.

export class PlainScreen {
  constructor(app) {
    this.app = app;
  }

  mount() {}

  unmount() {}

  get current() {
    return null;
  }

  get fullElement() {
    return null;
  }

  key(event) {
    if (event.key !== 'Escape') return false;
    this.app.goBack();
    return true;
  }

  keyInField() {
    return false;
  }
}
