def format_call(e,width=32): return repr(e)[:300]
def decode(e): return {"name":str(e.nr),"args":{},"result":e.result,"error":None}
