# Names of the language and the store.
[ builtins.storeDir (builtins.typeOf builtins.nixVersion) builtins.langVersion (builtins ? currentTime) (builtins.isAttrs builtins.builtins) ]
